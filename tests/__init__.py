"""Tests of the template: generate projects, look at them, run them."""
