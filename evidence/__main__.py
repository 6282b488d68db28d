"""`python -m evidence` lists the measurements, `python -m evidence SUBJECT` runs one."""

from evidence.commands import main

if __name__ == "__main__":
    main()
