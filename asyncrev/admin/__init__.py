"""The admin endpoint: HTTP for operators, on a thread of its own, beside what it reports.

Thread: `asyncrev-admin`, with a loop of its own; `answers` alone runs on the server's loop.
Imports: server and below. h11 is imported by `http`, prometheus_client by `metrics`, nowhere else.
"""
