package labels

// Who is let in, beyond passwords and networks.
var signOnLabels = []Label{}
