"""`python -m muad`, which is also what `torchrun` starts."""

from muad.cli.main import run

if __name__ == "__main__":
    run()
