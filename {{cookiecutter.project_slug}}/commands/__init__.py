"""Subcommands, one file each: the function of the file's name; what stands after `*` are options.

A parameter `job` makes the network, the data and the trainer before; `options` is all that was
typed. `main.run` returns the job to whoever calls it from Python.
"""
