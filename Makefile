# The same words as course.py, which does the work and says what each takes: python course.py --help
PYTHON ?= python3
WORDS := lab test site run derive table lock bench browser
OPTIONS := PAGE NAME JOBS CLUSTER CHECK TOPIC DEPS FRESH PORT NO_BROWSER QUICK KEEP PIP_ARGS

.DEFAULT_GOAL := help
.PHONY: help $(WORDS)

help:
	@$(PYTHON) course.py --help

# What was typed after `make` is passed on; what stands in the environment course.py reads itself, where it is safe.
$(WORDS):
	@$(PYTHON) course.py $@ $(foreach option,$(OPTIONS),$(if $(filter command,$(origin $(option))),'$(option)=$($(option))'))
