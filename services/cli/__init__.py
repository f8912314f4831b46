"""`spendgate`: the command line.

Talks to the running gateway over the same admin API as any other client, imports no service, and starts all of them
for `spendgate up` (`supervisor`). Reading order: `main`, one file for each group of commands in `commands`,
`configuration` for the file that describes a gateway, `translate` for what is sent to which service.
"""
