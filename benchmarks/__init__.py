"""Us beside the peers: one module per topic with a `rows()`, run by `python course.py bench TOPIC=<topic>`."""
