"""The event loop: asyncio's selector loop on epoll, and its stream transport.

Thread: the loop's, except for `EpollEventLoop.wake`, which any thread may call. Imports: root
modules only (`errors`, `buffers`, `states`).
"""
