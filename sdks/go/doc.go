// Package stargus is the client of Stargus: shared state that programs read like a local table.
//
//	client, err := stargus.Connect(ctx, "http://127.0.0.1:8080", "demo")
//	rooms, err := client.Attach(ctx, "rooms")
//	err = rooms.Ready(ctx)
//	hall, ok := rooms.Get("hall")
//
// A [Client] belongs to one pool of one server. [Client.Attach] makes a live [Mirror] of a collection; [Client.Set] and its
// like write; [Client.Lock] keeps others from writing; [Client.Changes] tells every commit. Every other call of the API is
// reached through [Client.API], by the same connection.
//
// Errors are a [*Problem] where the server refused, and an [*Error] where the library did; both have a code, and
// errors.Is compares codes: errors.Is(err, stargus.ErrNotFound).
//
// Filters are made by the package where, caches by sqlitecache, webhooks are verified by webhook, and servers of the local
// network found by discover: what only some programs need costs only these.
package stargus
