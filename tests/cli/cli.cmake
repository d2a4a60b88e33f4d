# bats files of the commands
