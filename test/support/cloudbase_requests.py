"""The requests that cloudbase-init's EC2 and OpenStack services send, and what they make of the answers.

Not cloudbase-init itself, which runs on Windows alone. Like it, this asks by Python's requests, each time on a connection of its own, at the same paths
(cloudbaseinit/metadata/services/ec2service.py, httpservice.py and baseopenstackservice.py), and takes 404 alone for "not there".

usage: cloudbase_requests.py URL
"""

import json
import sys

import requests


def get(path):
    response = requests.get(url=requests.compat.urljoin(sys.argv[1], path), timeout=20)
    if response.status_code == 404:
        return None
    response.raise_for_status()
    return response.content.decode()


def ec2():
    below = "2009-04-04/meta-data"
    keys = []
    for line in get(f"{below}/public-keys").splitlines():
        index, _ = line.split("=")
        keys.append(get(f"{below}/public-keys/{index}/openssh-key").strip())
    return {
        "hostname": get(f"{below}/local-hostname"),
        "instanceId": get(f"{below}/instance-id"),
        "keys": keys,
        "userData": get("2009-04-04/user-data"),
    }


def openstack():
    about = json.loads(get("openstack/latest/meta_data.json"))
    network = json.loads(get("openstack/latest/network_data.json"))
    return {
        "hostname": about.get("hostname"),
        "instanceId": about.get("uuid"),
        "keys": [key.strip() for key in about.get("public_keys", {}).values()],
        "userData": get("openstack/latest/user_data"),
        "links": [link.get("ethernet_mac_address") for link in network.get("links", [])],
        "networks": [
            [one.get("ip_address"), one.get("netmask"), [route.get("gateway") for route in one.get("routes", [])]]
            for one in network.get("networks", [])
            if one.get("type") == "ipv4"
        ],
        "nameservers": [one.get("address") for one in network.get("services", []) if one.get("type") == "dns"],
        # Where this version is there, it deposits the administrator's password.
        "depositsPassword": get("openstack/2013-04-04/meta_data.json") is not None,
    }


print(json.dumps({"ec2": ec2(), "openstack": openstack()}))
