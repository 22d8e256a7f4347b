package routing

import "strings"

// mirrorSuffix ends the names of clusters for copies of requests.
const mirrorSuffix = "~mirror"

// MirrorCluster is the name of the cluster for copies of requests to an app port. It has the same instances as the cluster of the port, and limits of
// its own: nobody waits for a copy, so without them an instance that hangs would have Envoys collect copies. Its load is no use of the app.
func MirrorCluster(cluster string) string { return cluster + mirrorSuffix }

// IsMirrorCluster reports whether a name is that of a MirrorCluster.
func IsMirrorCluster(name string) bool { return strings.HasSuffix(name, mirrorSuffix) }
