"""Waits for parts by MQTT: `python read_mqtt.py 127.0.0.1 1883 3`."""

import json
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

seen: set[str] = set()


def told(client, most, message):
    part = json.loads(message.payload)
    if message.retain or part["id"] in seen:  # of before we came; one that came twice
        return
    seen.add(part["id"])
    print(f"{part['serial']}: {part['verdict']}", "go on" if part["verdict"] == "pass" else "stop", flush=True)
    if len(seen) == most:
        client.disconnect()


client = mqtt.Client(CallbackAPIVersion.VERSION2, userdata=int(sys.argv[3]))
client.on_connect = lambda *_: client.subscribe("muad/+/inspection", qos=1)
client.on_subscribe = lambda *_: print("listening", flush=True)
client.on_message = told
client.connect(sys.argv[1], int(sys.argv[2]))
client.loop_forever()
