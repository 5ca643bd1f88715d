"""Name the most anomalous photographs of a folder and where to look: `python examples/predict.py RUN FOLDER`."""

import sys
from pathlib import Path

import numpy as np

import muad


def main() -> None:
    run, folder = sys.argv[1:]
    predictor = muad.Predictor(run)
    found = []
    for result in predictor.stream(sorted(Path(folder).rglob("*.png"))):
        if result.error is not None:
            print(result.error)
            continue
        row, column = np.unravel_index(np.nanargmax(result.anomaly_map), result.anomaly_map.shape)
        found.append((result.score, result.path, int(column), int(row)))
    for score, path, x, y in sorted(found, reverse=True)[:10]:
        print(f"{score:.4f}  {path}  look at x={x}, y={y}")


if __name__ == "__main__":
    try:
        main()
    except muad.MuadError as error:
        sys.exit(f"error: {error}")
