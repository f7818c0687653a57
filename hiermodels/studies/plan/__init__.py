"""Before a study is run: a config to start from, a pilot that says how many replicates, power over designs."""
