"""The event loop: asyncio's selector loop on epoll, and its stream transport.

Thread: the loop's, but for `EpollEventLoop.wake`, which any thread may call. Of asyncrev these
modules import each other and modules of the root (`errors`, `buffers`, `states`), but no other
package.
"""
