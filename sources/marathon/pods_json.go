package marathon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// podJSON holds the fields of a pod's status (GET /v2/pods/{id}::status) that
// routing needs: the newest definition, and what runs.
type podJSON struct {
	ID        string            `json:"id"`
	Spec      podSpecJSON       `json:"spec"`
	Instances []podInstanceJSON `json:"instances"`
}

type podSpecJSON struct {
	Version    string             `json:"version"`
	Labels     map[string]string  `json:"labels"`
	Networks   []networkJSON      `json:"networks"`
	Scaling    *scalingJSON       `json:"scaling"`
	Containers []podContainerJSON `json:"containers"`
}

type scalingJSON struct {
	Instances int `json:"instances"`
}

type podContainerJSON struct {
	Name        string              `json:"name"`
	Endpoints   []podEndpointJSON   `json:"endpoints"`
	HealthCheck *podHealthCheckJSON `json:"healthCheck"`
}

type podHealthCheckJSON struct {
	HTTP *podCheckJSON `json:"http"`
	TCP  *podCheckJSON `json:"tcp"`
}

type podCheckJSON struct {
	Endpoint string `json:"endpoint"`
}

type podEndpointJSON struct {
	Name          string            `json:"name"`
	ContainerPort int               `json:"containerPort"`
	HostPort      *int              `json:"hostPort"`
	Protocol      []string          `json:"protocol"`
	NetworkNames  []string          `json:"networkNames"`
	Labels        map[string]string `json:"labels"`
}

type podInstanceJSON struct {
	ID            string `json:"id"`
	Status        string `json:"status"`
	Message       string `json:"message"`
	AgentHostname string `json:"agentHostname"`
	AgentRegion   string `json:"agentRegion"`
	AgentZone     string `json:"agentZone"`
	SpecReference string `json:"specReference"`
	Networks      []struct {
		Name      string   `json:"name"`
		Addresses []string `json:"addresses"`
	} `json:"networks"`
	Containers []podContainerStatusJSON `json:"containers"`
}

type podContainerStatusJSON struct {
	Name       string                  `json:"name"`
	Status     string                  `json:"status"`
	Endpoints  []podEndpointStatusJSON `json:"endpoints"`
	Conditions []struct {
		Name   string `json:"name"`
		Value  string `json:"value"`
		Reason string `json:"reason"`
	} `json:"conditions"`
}

type podEndpointStatusJSON struct {
	Name              string `json:"name"`
	AllocatedHostPort int    `json:"allocatedHostPort"`
	Healthy           *bool  `json:"healthy"`
}

// decodedPod is one pod of an answer; see decoded.
type decodedPod struct {
	pod      podJSON
	mismatch string
}

// decodePods reads a list of pod statuses to its very end.
func decodePods(r io.Reader, each func(decodedPod) error) error {
	d := json.NewDecoder(r)
	if err := expectDelim(d, '['); err != nil {
		return err
	}
	for d.More() {
		pod, err := decodePod(d)
		if err != nil {
			return err
		}
		if err := each(pod); err != nil {
			return err
		}
	}
	if err := expectDelim(d, ']'); err != nil {
		return err
	}
	return expectEnd(d)
}

// decodeOnePod reads a document that is one pod status.
func decodeOnePod(r io.Reader) (decodedPod, error) {
	d := json.NewDecoder(r)
	pod, err := decodePod(d)
	if err == nil && pod.pod.ID == "" {
		err = errors.New("the document is no pod status with an id")
	}
	if err != nil {
		return decodedPod{}, err
	}
	return pod, expectEnd(d)
}

func decodePod(d *json.Decoder) (decodedPod, error) {
	var one decodedPod
	err := d.Decode(&one.pod)
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		one.mismatch, err = fmt.Sprintf("%s is a %s", mismatch.Field, mismatch.Value), nil
	}
	if err != nil {
		return decodedPod{}, err
	}
	if one.pod.ID != "" && !strings.HasPrefix(one.pod.ID, "/") {
		one.pod.ID = "/" + one.pod.ID
	}
	return one, nil
}
