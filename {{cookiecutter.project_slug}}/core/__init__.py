"""What finds, checks and runs the files that are dropped into data/ and model/."""
