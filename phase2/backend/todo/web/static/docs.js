// The page at /docs. A token lives as long as the page: nothing of it is kept in the browser.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  // No badge: it would send our address to somebody else's server.
  validatorUrl: null,
});
