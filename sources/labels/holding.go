package labels

// Connections that wait while servers move.
var holdingLabels = []Label{}
