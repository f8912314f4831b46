"""Takes traces over OTLP/gRPC and throws them away. Prints its port."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Sink(grpc.GenericRpcHandler):
    """Answers every export with an empty success, without reading it."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The one method of the service."""
        if details.method != _EXPORT:
            return None
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")


def main() -> None:
    """Serves until the process is ended."""
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((Sink(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)  # noqa: T201  (whoever started us waits for it)
    server.start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
