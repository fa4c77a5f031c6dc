"""Carries decisions across Kafka and MongoDB, each taking effect once.

A message comes in (`worker`), is translated (`translate`), decided (`rules`), stored (`store_mongo`) and published
(`kafka_log`); `lane` holds these steps together for one partition and `app` wires everything.
"""
