package marathon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// pods reads all pods. It calls each as they come, and fails unless the
// document is complete.
func (c *client) pods(ctx context.Context, t target, each func(decodedPod) error) error {
	resp, _, err := c.open(ctx, t, "/v2/pods/::status", nil, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return fmt.Errorf("read all pods: %w", err)
	}
	defer resp.Body.Close()
	if err := decodePods(resp.Body, each); err != nil {
		return fmt.Errorf("read all pods from %s: %w", t.base, err)
	}
	return nil
}

// pod reads one pod. found is false when Marathon says that it does not exist.
func (c *client) pod(ctx context.Context, t target, id string) (pod decodedPod, found bool, err error) {
	resp, _, err := c.open(ctx, t, "/v2/pods"+id+"::status", nil, http.Header{"Accept": {"application/json"}})
	if isMissing(err) {
		return decodedPod{}, false, nil
	}
	if err != nil {
		return decodedPod{}, false, fmt.Errorf("read pod %s: %w", id, err)
	}
	defer resp.Body.Close()
	pod, err = decodeOnePod(resp.Body)
	if err == nil && pod.pod.ID != id {
		err = fmt.Errorf("the answer is about %s", clip(pod.pod.ID))
	}
	if err != nil {
		return decodedPod{}, false, fmt.Errorf("read pod %s from %s: %w", id, t.base, err)
	}
	return pod, true, nil
}

// isMissing tells that Marathon itself says that there is no such thing, and
// not a proxy that has lost Marathon.
func isMissing(err error) bool {
	status, ok := errors.AsType[*statusError](err)
	return ok && status.code == http.StatusNotFound && status.message != ""
}

// readPods adds all pods to a full read. A Marathon without pods (before 1.4)
// has none, unless it had some before.
func (c *connection) readPods(from target, f *fullRead) error {
	w := c.w
	err := w.client.pods(c.ctx, from, func(answer decodedPod) error {
		id, ok := cleanID(answer.pod.ID)
		if !ok {
			if w.told.isNew("id "+clip(answer.pod.ID), "") {
				w.log.Warn("a pod of Marathon has no usable id and is ignored", "event", "app_ignored", "id", clip(answer.pod.ID))
			}
			return nil
		}
		answer.pod.ID = id
		f.apps[id] = c.mapOnePod(answer)
		return nil
	})
	status, ok := errors.AsType[*statusError](err)
	if ok && (status.code == http.StatusNotFound || status.code == http.StatusMethodNotAllowed) && !w.knowsPods() {
		if !w.told.isNew("pods", "") {
			return nil
		}
		w.log.Warn("this Marathon has no pods: routing them can be turned off", "event", "pods_unknown", "error", err)
		return nil
	}
	return err
}

// readOne reads what has an id: an app or, where pods are routed, a pod. The
// two share their ids, and one may have taken the place of the other.
func (c *connection) readOne(from target, id string) (m mapped, found bool, err error) {
	w := c.w
	old := w.known(id)
	podFirst := w.cfg.Pods && old != nil && old.pod
	for _, pod := range []bool{podFirst, !podFirst} {
		if pod && !w.cfg.Pods {
			continue
		}
		if pod {
			var answer decodedPod
			if answer, found, err = w.client.pod(c.ctx, from, id); found {
				m = c.mapOnePod(answer)
			}
		} else {
			var answer decoded
			if answer, found, err = w.client.app(c.ctx, from, id); found {
				m = c.mapOne(answer)
			}
		}
		if found || err != nil {
			return m, found, err
		}
	}
	return mapped{}, false, nil
}

// mapOnePod is mapOne for pods.
func (c *connection) mapOnePod(answer decodedPod) mapped {
	id := answer.pod.ID
	return c.mapKnown(id, answer.mismatch, func(prior history, m mapping) mapped { return convertPod(&answer.pod, prior, m) })
}
