# unit tests of callsite
