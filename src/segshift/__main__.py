"""python -m segshift"""

from segshift.cli import main

if __name__ == "__main__":
    main()
