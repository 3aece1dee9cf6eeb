// The page at /docs. A token lives as long as the page: nothing of it is kept in the browser.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  // No badge: it would send our address to somebody else's server.
  validatorUrl: null,
  // The example in the description calls this server, wherever it listens, and not the default port.
  responseInterceptor(response) {
    if (response.url.endsWith("/openapi.json")) {
      const here = new URL(".", location.href).href.replace(/\/$/, "");
      response.text = response.text.replace(/http:\/\/127\.0\.0\.1:8000/g, here);
    }
    return response;
  },
});
