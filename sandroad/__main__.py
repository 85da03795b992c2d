"""``python -m sandroad``."""

from sandroad.cli import main

if __name__ == "__main__":
    main()
