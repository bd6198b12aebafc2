"""`python -m benchmarks <topic>`: run one topic's rows and end in its table."""

import sys

from benchmarks.timing import main

sys.exit(main(sys.argv[1:]))
