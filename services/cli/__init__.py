"""`spendgate`: the command line.

It talks to the running gateway over the same admin API as any other client and imports no service. `spendgate up`
starts all services (`supervisor`). Reading order: `main`, one file for each group of commands in `commands`,
`configuration` for the file that describes a gateway, `translate` for the requests to each service.
"""
