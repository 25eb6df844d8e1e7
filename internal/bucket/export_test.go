package bucket

import (
	"context"
	"net/http"
	"net/url"
)

// PageSize is how many objects are listed at once.
const PageSize = pageSize

// CreateContainer creates a container of Azure, which the program itself never does.
func CreateContainer(ctx context.Context, location Location) error {
	s, err := openAzure(ctx, location, Options{}.withDefaults())
	if err != nil {
		return err
	}
	a := s.(*azure)
	_, err = a.done(ctx, http.MethodPut, a.url("", url.Values{"restype": {"container"}}), azureHeader(), nil, 0)
	return err
}
