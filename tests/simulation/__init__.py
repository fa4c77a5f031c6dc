"""The real worker code under a seeded scheduler, on a log and a store in memory, with faults at every await.

`loop` is an asyncio event loop in virtual time, `kafka` what aiokafka offers the worker, in memory, `workers` the
processes with what befalls them, `check` what must hold at the end. A run follows from its seed alone.
"""
