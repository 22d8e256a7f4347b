package labels

// Caches that speak the protocol of Redis.
var redisLabels = []Label{}
