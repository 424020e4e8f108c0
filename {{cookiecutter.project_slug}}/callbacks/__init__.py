"""Lightning callbacks, one file each, chosen by name: `--callbacks+=NAME`, or in config.yaml.

The constructor's arguments are options in a section of the callback's name. Those called `folder`,
`monitor` and `mode` are filled in by the run.
"""
