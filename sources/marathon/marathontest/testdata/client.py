"""Uses the Marathon at argv[1] through a client library, and fails on the first surprise.

With "light" as argv[2] it leaves out the events of deployments: the library
cannot read plans without the groups before and after, as 1.7 and later have them.
"""

import collections
import collections.abc
import sys
import threading
import time

collections.Iterable = collections.abc.Iterable  # the library is older than its move in Python 3.10

from marathon import MarathonClient
from marathon.exceptions import ConflictError, NotFoundError
from marathon.models import MarathonApp, MarathonHealthCheck

client = MarathonClient(sys.argv[1], username="me", password="secret", timeout=10)
other = MarathonClient(sys.argv[1], username="me", password="secret", timeout=10)


def check(what, got, want):
    if got != want:
        sys.exit("%s: got %r, want %r" % (what, got, want))


def await_idle():
    deadline = time.monotonic() + 15
    while client.list_deployments():
        if time.monotonic() > deadline:
            sys.exit("a deployment does not end")
        time.sleep(0.01)


wanted = {"event_stream_attached", "api_post_event", "group_change_success", "status_update_event", "instance_changed_event",
          "health_status_changed_event", "instance_health_changed_event", "app_terminated_event"}
if sys.argv[2] != "light":
    wanted |= {"deployment_info", "deployment_step_success", "deployment_success"}
seen = []
attached, terminated = threading.Event(), threading.Event()


def listen():
    try:
        for event in other.event_stream(event_types=sorted(wanted)):
            seen.append(event)
            if event.event_type == "event_stream_attached":
                attached.set()
            if event.event_type == "app_terminated_event":
                terminated.set()
    except Exception as error:  # the thread ends with the process
        seen.append(error)
        terminated.set()


threading.Thread(target=listen, daemon=True).start()
if not attached.wait(10):
    sys.exit("no first event")

check("ping", client.ping(), b"pong")
check("leader", client.get_leader().keys(), {"leader"})
check("name", client.get_info().name, "marathon")
check("apps at first", client.list_apps(), [])

created = client.create_app("/shop/web", MarathonApp(
    cmd="sleep", instances=2, labels={"HAPROXY_GROUP": "external"},
    health_checks=[MarathonHealthCheck(protocol="HTTP", path="/")]))
check("created", (created.id, created.instances), ("/shop/web", 2))
await_idle()

app, = client.list_apps(embed_tasks=True, embed_counts=True)
check("listed", (app.id, app.labels, len(app.tasks), app.tasks_running), ("/shop/web", {"HAPROXY_GROUP": "external"}, 2, 2))
for task in app.tasks:
    check("task", (task.app_id, len(task.ports), task.health_check_results[0].alive), ("/shop/web", 1, True))
    if task.started_at.year < 2000:
        sys.exit("task started at %s" % task.started_at)
check("tasks", sorted(t.id for t in client.list_tasks("/shop/web")), sorted(t.id for t in app.tasks))

client.scale_app("/shop/web", instances=3)
await_idle()
check("scaled", len(client.get_app("/shop/web", embed_tasks=True).tasks), 3)
before = client.get_app("/shop/web")
client.update_app("/shop/web", MarathonApp(labels={"HAPROXY_GROUP": "internal"}))
await_idle()
after = client.get_app("/shop/web", embed_tasks=True)
check("updated", (after.labels, len(after.tasks)), ({"HAPROXY_GROUP": "internal"}, 3))
if not after.version > before.version:
    sys.exit("version %s after %s" % (after.version, before.version))
client.kill_task("/shop/web", after.tasks[0].id, scale=True)
await_idle()
check("after a kill with scale", len(client.get_app("/shop/web", embed_tasks=True).tasks), 2)

try:
    client.create_app("/shop/web", MarathonApp(cmd="sleep"))
    sys.exit("an app was created twice")
except ConflictError:
    pass

client.delete_app("/shop/web")
try:
    client.get_app("/shop/web")
    sys.exit("a deleted app is shown")
except NotFoundError:
    pass
if not terminated.wait(10):
    sys.exit("no app_terminated_event among %s" % [e.event_type for e in seen])
await_idle()

for event in seen:
    if isinstance(event, Exception):
        sys.exit("event stream: %r" % event)
types = {event.event_type for event in seen}
check("types of events", types, wanted)
for event in seen:
    if event.event_type == "status_update_event":
        check("status update", event.app_id, "/shop/web")
print("all as expected")
