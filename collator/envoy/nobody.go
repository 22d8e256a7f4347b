package envoy

// nobodysAuthority is an authority that signs nothing: its key was thrown away when it was made.
const nobodysAuthority = `-----BEGIN CERTIFICATE-----
MIIBajCCAQ+gAwIBAgIBATAKBggqhkjOPQQDAjAbMRkwFwYDVQQDExBub2JvZHkg
aXMgbGV0IGluMCAXDTIwMDEwMTAwMDAwMFoYDzIwOTkwMTAxMDAwMDAwWjAbMRkw
FwYDVQQDExBub2JvZHkgaXMgbGV0IGluMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
QgAEqN96lMZbt0j+mz1RnIwJx7oWk1AV2bBYP3lkdqF2lUtIr1otUM0w7q+Zu43t
ghtKr/SGAWygbbEPwYnBbt+OFaNCMEAwDgYDVR0PAQH/BAQDAgEGMA8GA1UdEwEB
/wQFMAMBAf8wHQYDVR0OBBYEFB1y3swoRB+FYRpXt+detsxe7bXrMAoGCCqGSM49
BAMCA0kAMEYCIQDNlJjbjjRcufJQgl6rFmaZegYrOT9KoqeXg2s/2KmPIAIhAIUa
KnR0ow0uCkha+Hc3QrvqSU06oxvzyH05ngX8Fs6h
-----END CERTIFICATE-----
`
