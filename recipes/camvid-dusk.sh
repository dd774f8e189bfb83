#!/usr/bin/env bash
# Protocol camvid-dusk, whole: two source models (plain; with brightness and contrast jitter), AdaBN at four source ratios and three
# tunings on the first half of the dusk drive, everything tested by day (another drive) and on the second half of the dusk drive.
# CamVid in the SegNet layout lies in $SEGSHIFT_DATA/camvid. Interrupted, it goes on where it was.
#
#   SEGSHIFT_DATA=DATA recipes/camvid-dusk.sh [RUNS]
set -euo pipefail
runs=${1:-runs/camvid-dusk}
segshift=${SEGSHIFT:-segshift}
here=$(dirname "$0")
adapts='camvid::train?sequence=0001TP&part=1/2'
tests=(--test 'day:=camvid::train?sequence=0006R0' --test 'dusk:=camvid::train?sequence=0001TP&part=2/2')

for source in plain jitter; do
    recipe=$here/camvid-dusk.yaml
    [ "$source" = plain ] || recipe=$here/camvid-dusk-$source.yaml
    "$segshift" train "$recipe" --out "$runs/$source" --resume
    for ratio in 0 0.2 0.5 1; do
        "$segshift" adapt "$runs/$source" --method adabn --source-ratio "$ratio" --target "$adapts" "${tests[@]}" \
            --name "$source, adabn $ratio" --out "$runs/$source-adabn-$ratio" --resume
    done
    for tuning in cl freeze-n-update all; do
        "$segshift" adapt "$runs/$source" --method supervised --tuning "$tuning" --target "$adapts" "${tests[@]}" \
            --set training.epochs=40 --set optimizer.lr=5.0e-4 --name "$source, $tuning" --out "$runs/$source-$tuning" --resume
    done
done
"$segshift" compare "$runs" --csv "$runs/table.csv"
"$segshift" report "$runs" --out "$runs/report.html"
