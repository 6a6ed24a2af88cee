"""The messages and services of asyncflow.v1, as generated from the protocol.

For what `asyncflow.Client` has no method for: its `stub` has the services, and their messages are
in the modules here, e.g. `asyncflow.v1.workflow_pb2.WorkflowSpec`.
"""
