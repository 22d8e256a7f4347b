package questions

// Routes whose requests wait for an instance have metadata of this name: with the name under which the app is
// routed, and the index of the port.
const (
	RouteMetadata = "relay.scaling"
	RouteApp      = "app"
	RoutePort     = "port"
)

// Envoys say by these attributes whose request it is that waits in a queue.
const (
	QueueApp   = "xds.route_metadata.filter_metadata['" + RouteMetadata + "']['" + RouteApp + "']"
	QueuePort  = "xds.route_metadata.filter_metadata['" + RouteMetadata + "']['" + RoutePort + "']"
	QueueFleet = "xds.node.cluster"
	QueueNode  = "xds.node.id"
)

// Envoys read the instance that was chosen for a request from dynamic metadata with this namespace and key. So
// no header is needed, which clients could send or apps see.
const (
	QueueMetadata = "relay.queue"
	QueueInstance = "endpoint"
)
