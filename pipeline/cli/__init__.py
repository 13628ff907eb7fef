"""The command line: one module a command.

* `start.main`: the command `pocketnas`
* `app.run_command`: one command, returning its exit code
"""
