"""`python -m harness.bench <name>`: run one benchmark of the harness and print its table."""

import sys

from harness.bench import compare, credit, growth, horizon, references, step, sweep, verify

BENCHMARKS = {
    "step": step,
    "growth": growth,
    "sweep": sweep,
    "horizon": horizon,
    "credit": credit,
    "references": references,
    "verify": verify,
    "compare": compare,
}


def main(arguments: list[str]) -> int:
    name, *rest = arguments or ["--help"]
    if name not in BENCHMARKS or {"-h", "--help"} & set(arguments):
        print("python -m harness.bench <name> [key=value ...]\n")
        for known, module in BENCHMARKS.items():
            print(f"{known}:\n{module.__doc__}")
        return 0 if {"-h", "--help"} & set(arguments) else 2
    return BENCHMARKS[name].main(rest) or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
