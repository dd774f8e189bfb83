"""python -m segshift.cli"""

from segshift.cli import main

main()
