"""Waits for parts by OPC UA, as a controller does: `python read_opcua.py opc.tcp://127.0.0.1:4840 "line 1" 3`."""

import asyncio
import sys

from asyncua import Client


async def main(address: str, station: str, parts: int) -> None:
    async with Client(address) as client:
        number = await client.get_namespace_index("urn:muad:station")
        names = ("Inspections", "VerdictCode", "Verdict", "Serial", "Score")
        nodes = [client.get_node(f"ns={number};s={station}.{name}") for name in names]
        seen = await nodes[0].read_value()
        while parts > 0:
            count, code, verdict, serial, score = await client.read_values(nodes)
            if count != seen:  # it is set last: what was read belongs to one part
                seen, parts = count, parts - 1
                print(f"{serial}: {verdict}, score {score:.3g}", "go on" if code == 1 else "stop", flush=True)
            await asyncio.sleep(0.02)


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
