"""The only room that waits for the network, and the only one that imports aiohttp."""
