"""Train one detector and print its figures: `python examples/train.py DATA RUN [section.key=value ...]`."""

import sys

import muad


def main() -> None:
    data, run, *overrides = sys.argv[1:]
    muad.train(data, run, overrides=overrides, note=print)
    report = muad.evaluate(run, data)
    for name, category in report.categories.items():
        print(f"{name:20} {category.image_auroc} {category.pixel_aupro}")
    print(f"{'mean':20} {report.mean['image_auroc']} {report.mean['pixel_aupro']}")


if __name__ == "__main__":
    try:
        main()
    except muad.MuadError as error:
        sys.exit(f"error: {error}")
