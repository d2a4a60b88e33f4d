# unit tests of replay
