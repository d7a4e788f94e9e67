"""`python -m morphogen`, for launchers of several processes."""

from .cli import main

if __name__ == "__main__":
    main()
