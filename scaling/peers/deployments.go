package peers

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"relay/internal/panics"
	"relay/scaling/deployments"
)

// DeploymentTask is what one Relay knows of a task of a deployment group.
type DeploymentTask struct {
	Task string `json:"task"`
	// Open is how many requests and connections the Envoys of the Relay have open there, if Known.
	Open  int  `json:"open,omitempty"`
	Known bool `json:"known,omitempty"`
	// Settled is set if all of them have acknowledged that it takes nothing new, and have reported since.
	// If it is not, Waiting says what for.
	Settled bool   `json:"settled,omitempty"`
	Waiting string `json:"waiting,omitempty"`
}

// Deployments is what this Relay knows of deployment groups. Its methods return at once.
type Deployments interface {
	// Tasks are those of a group, by the Envoys of this Relay alone.
	Tasks(group string) []DeploymentTask
	// Directions are those that people gave this Relay, and Learn takes over those of another.
	Directions() []deployments.Direction
	Learn([]deployments.Direction)
	// Moving reports whether a group may be turned any moment: it is asked often for it then.
	Moving() bool
}

// addDeployments adds what is known of groups to an answer.
func (p *Peers) addDeployments(a *Answer, q Question) {
	if p.Deployments == nil {
		return
	}
	a.Directions = p.Deployments.Directions()
	a.Directions = a.Directions[:min(len(a.Directions), MaxAsked)]
	if q.Group != "" {
		a.Tasks = p.Deployments.Tasks(q.Group)
		a.Tasks = a.Tasks[:min(len(a.Tasks), maxReports)]
	}
}

// Tasks asks all peers for what they know of the tasks of a group, and returns what each said. The error
// says who could not be asked.
func (p *Peers) Tasks(ctx context.Context, group string) ([][]DeploymentTask, error) {
	p.mu.Lock()
	others := p.others()
	p.mu.Unlock()
	answers, errs := make([]Answer, len(others)), make([]error, len(others))
	var all sync.WaitGroup
	for i, peer := range others {
		all.Go(func() {
			errs[i] = panics.Catch(func() (err error) {
				answers[i], err = p.question(ctx, peer, Question{Group: group})
				return err
			})
		})
	}
	all.Wait()
	var said [][]DeploymentTask
	heard := map[string]bool{p.instance: true}
	for i, a := range answers {
		if errs[i] != nil {
			errs[i] = fmt.Errorf("%s cannot be asked: %w", others[i].name, errs[i])
		} else if !heard[a.Instance] {
			heard[a.Instance] = true
			said = append(said, a.Tasks)
		}
	}
	return said, errors.Join(errs...)
}

// learn takes over what a peer says of directions.
func (p *Peers) learn(a Answer) {
	if p.Deployments != nil && len(a.Directions) > 0 {
		p.Deployments.Learn(a.Directions)
	}
}

func (p *Peers) moving() bool { return p.Deployments != nil && p.Deployments.Moving() }

// checkDeployments cuts off what is too long in an answer.
func (a *Answer) checkDeployments() error {
	if len(a.Directions) > MaxAsked || len(a.Tasks) > maxReports {
		return fmt.Errorf("it has %d directions and %d tasks", len(a.Directions), len(a.Tasks))
	}
	for _, d := range a.Directions {
		if d.Group == "" || len(d.Group) > maxName || len(d.New) > maxName {
			return errors.New("a direction is of no group")
		}
	}
	for i := range a.Tasks {
		t := &a.Tasks[i]
		if t.Task == "" || len(t.Task) > maxName || t.Open < 0 {
			return fmt.Errorf("task %d has no name, or less than nothing is open there", i+1)
		}
		t.Waiting = cut(t.Waiting)
	}
	return nil
}
