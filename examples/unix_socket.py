"""On a UNIX socket: a live server's path is not taken, and our own is removed at the end.

asyncrev serve --uds /run/user/1000/rev.sock
printf hello | nc -N -U /run/user/1000/rev.sock
"""

import asyncio
import os
import tempfile

import asyncrev


async def main() -> None:
    """Reverse one message, try to start a second server there, and drain."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rev.sock")
        async with await asyncrev.serve(uds=path) as server:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"hello")
            writer.write_eof()
            print((await reader.read()).decode())
            writer.close()
            await writer.wait_closed()
            try:
                await asyncrev.serve(uds=path)
            except asyncrev.AsyncrevError as error:
                print(str(error).replace(path, "PATH"))
            await server.drain()
        print("left:", os.listdir(folder))


if __name__ == "__main__":
    asyncrev.run(main())
