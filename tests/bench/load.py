"""Closed-loop callers: each sends the next request when the last was answered. Prints one JSON object."""

import asyncio
import json
import statistics
import sys
import time

import aiohttp

BODY = json.dumps({"filler": "x" * 1000}).encode()


async def run(url: str, client: str, callers: int, seconds: float) -> dict[str, float]:
    """Return calls per second, the 50th and 99th percentile in milliseconds, and errors."""
    latencies: list[float] = []
    errors = 0
    until = time.perf_counter() + seconds
    headers = {"X-Road-Client": client, "Content-Type": "application/json"}

    async def caller(session: aiohttp.ClientSession) -> None:
        nonlocal errors
        while (began := time.perf_counter()) < until:
            try:
                async with session.post(url, data=BODY, headers=headers) as response:
                    answer = await response.read()
                    errors += response.status != 200 or answer != BODY
            except aiohttp.ClientError:
                errors += 1
            latencies.append(time.perf_counter() - began)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        began = time.perf_counter()
        await asyncio.gather(*(caller(session) for _ in range(callers)))
        elapsed = time.perf_counter() - began
    ordered = sorted(latencies)
    return {
        "per_second": len(ordered) / elapsed,
        "p50_ms": statistics.median(ordered) * 1000,
        "p99_ms": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000,
        "errors": errors,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))))
