package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"

	"vtepd/ctl/api"
)

// ErrBatch: the call is no part of a batch, because it asks something or cannot be taken back.
var ErrBatch = errors.New("no part of a batch")

// Begin is a client whose calls do nothing until Commit, which makes all of them happen together or none. It takes what adds, changes and
// deletes; other calls fail with ErrBatch. It is for one goroutine.
func (c *Client) Begin() *Client {
	return &Client{socket: c.socket, http: c.http, batch: &batch{}}
}

// batch is what a Client gathers.
type batch struct {
	requests []api.Request
}

// Gathered counts the calls since Begin. The number of a call is what an api.Error names as Request.
func (c *Client) Gathered() int {
	if c.batch == nil {
		return 0
	}
	return len(c.batch.requests)
}

// Commit makes the calls since Begin happen. The client starts anew after it, whatever came of it.
func (c *Client) Commit(ctx context.Context) error {
	if c.batch == nil || len(c.batch.requests) == 0 {
		return nil
	}
	requests := c.batch.requests
	c.batch.requests = nil
	sender := c.patient()
	defer sender.Close()
	return sender.send(ctx, http.MethodPost, "/v1/batch", nil, requests, nil)
}

// patient is a client that waits for many changes at a time.
func (c *Client) patient() *Client {
	t := c.transport().Clone()
	if t.ResponseHeaderTimeout != 0 {
		t.ResponseHeaderTimeout = batchTimeout
	}
	return &Client{socket: c.socket, http: &http.Client{Transport: t}}
}

// gather takes a request into the batch, and answers that it is done.
func (b *batch) gather(method, path string, q params, in any) (*http.Response, error) {
	if len(q) > 0 {
		path += "?" + url.Values(q).Encode()
	}
	r := api.Request{Method: method, Path: path}
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		r.Body = body
	}
	b.requests = append(b.requests, r)
	return &http.Response{StatusCode: http.StatusNoContent, Body: io.NopCloser(bytes.NewReader(nil))}, nil
}
