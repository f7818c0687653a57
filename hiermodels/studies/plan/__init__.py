"""Before a study is run: a config to start from."""
