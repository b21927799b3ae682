"""A cluster for DNS tests: one of each sort of Service, and pods behind them."""

from __future__ import annotations

from netlab.base.manifests import parse
from netlab.compile.objects import Objects
from netlab.compile.parse import objects
from netlab.compile.rules import completed

TEXT = """
kind: Namespace
metadata: {name: empty}
---
kind: Service
metadata: {name: hostnames}
spec:
  clusterIP: 10.96.0.5
  selector: {app: hostnames}
  ports: [{name: default, port: 80, targetPort: 9376}, {name: dns, port: 53, protocol: UDP}]
---
kind: Service
metadata: {name: dual, namespace: x}
spec:
  clusterIPs: [10.96.0.6, "fd00:96::6"]
  ports: [{port: 80}]
---
kind: Service
metadata: {name: nginx}
spec:
  clusterIP: None
  selector: {app: nginx}
  ports: [{name: web, port: 80}]
---
kind: Service
metadata: {name: portless}
spec: {clusterIP: None, selector: {app: nginx}}
---
kind: Service
metadata: {name: waiting}
spec: {clusterIP: None, selector: {app: waiting}, ports: [{port: 80}]}
---
kind: Service
metadata: {name: eager}
spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app: waiting}, ports: [{port: 80}]}
---
kind: Service
metadata: {name: manual}
spec: {clusterIP: None, ports: [{name: sql, port: 5432}]}
---
kind: EndpointSlice
metadata: {name: by-hand, labels: {kubernetes.io/service-name: manual}}
addressType: IPv4
ports: [{name: sql, port: 5432, protocol: TCP}]
endpoints:
- {addresses: [192.0.2.7], conditions: {ready: true}}
- {addresses: [192.0.2.8], conditions: {ready: false}}
- {addresses: [nonsense]}
---
kind: EndpointSlice
metadata: {name: by-hand-6, labels: {kubernetes.io/service-name: manual}}
addressType: IPv6
ports: [{name: sql, port: 5432, protocol: TCP}]
endpoints: [{addresses: ["fd00::7"]}]
---
kind: Service
metadata: {name: my-service}
spec: {type: ExternalName, externalName: my.database.example.com}
---
kind: Service
metadata: {name: inward}
spec: {type: ExternalName, externalName: hostnames.default.svc.cluster.local.}
---
kind: Service
metadata: {name: nowhere}
spec: {type: ExternalName, externalName: gone.default.svc.cluster.local}
---
kind: Service
metadata: {name: round}
spec: {type: ExternalName, externalName: about.default.svc.cluster.local}
---
kind: Service
metadata: {name: about}
spec: {type: ExternalName, externalName: round.default.svc.cluster.local}
---
kind: Pod
metadata: {name: web-0, labels: {app: nginx}}
spec: {nodeName: n1, hostname: web-0, subdomain: nginx}
status: {podIP: 10.244.0.30, podIPs: [{ip: 10.244.0.30}]}
---
kind: Pod
metadata: {name: web-1, labels: {app: nginx}}
spec: {nodeName: n2, hostname: web-1, subdomain: nginx}
status: {podIP: 10.244.1.30}
---
kind: Pod
metadata: {name: nameless, labels: {app: nginx}}
spec: {nodeName: n2}
status: {podIP: 10.244.1.31}
---
kind: Pod
metadata: {name: slow, labels: {app: waiting}}
spec: {nodeName: n2}
status: {podIP: 10.244.1.32, conditions: [{type: Ready, status: "False"}]}
"""


def cluster(text: str = TEXT) -> Objects:
    return completed(objects(parse(text, "world.yaml")))
